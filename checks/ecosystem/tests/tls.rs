//! TLS by rustls.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::Arc;

use futures_rustls::pki_types::PrivateKeyDer;
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use futures_rustls::{TlsAcceptor, TlsConnector};
use futures_util::io::{AsyncReadExt, AsyncWriteExt, copy};
use matou_ecosystem::{Fault, on_each_reactor, pair, pattern};
use matou_unix::{FuturesIo, spawn};

/// Both sides, with a certificate that was made for this.
fn sides() -> Result<(TlsConnector, TlsAcceptor), Fault> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok((Arc::new(client).into(), Arc::new(server).into()))
}

#[test]
fn much_in_both_directions_at_once() {
    const MANY: usize = 2_000_000;
    on_each_reactor(async || {
        let ((connector, acceptor), (near, far)) = (sides()?, pair().await?);
        let echo = spawn(async move {
            let (reader, mut writer) = acceptor.accept(FuturesIo::new(far)).await?.split();
            copy(reader, &mut writer).await?;
            writer.close().await
        });
        let (mut reader, mut writer) = connector.connect("localhost".try_into()?, FuturesIo::new(near)).await?.split();
        let sender = spawn(async move {
            writer.write_all(&pattern(MANY)).await?;
            writer.close().await
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).await?;
        assert!(back == pattern(MANY));
        sender.await?;
        echo.await?;
        Ok(())
    });
}

#[test]
fn an_end_without_a_word_is_an_error() {
    on_each_reactor(async || {
        let ((connector, acceptor), (near, far)) = (sides()?, pair().await?);
        let server = spawn(async move {
            let mut stream = acceptor.accept(FuturesIo::new(far)).await?;
            stream.write_all(b"meow").await?;
            stream.flush().await?;
            let (io, _session) = stream.into_inner();
            io.into_inner().shutdown(Shutdown::Write)
        });
        let mut stream = connector.connect("localhost".try_into()?, FuturesIo::new(near)).await?;
        let mut all = Vec::new();
        assert_eq!(stream.read_to_end(&mut all).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(all, b"meow");
        server.await?;
        Ok(())
    });
}
