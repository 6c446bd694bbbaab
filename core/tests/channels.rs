//! Channels: in order, bounded, across domains, and whoever goes away loses nothing for the others.

#![cfg(feature = "std")]

mod support;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use matou_core::sync::{Channel, Closed, SendError, TryReceiveError, TrySendError, channel};
use matou_core::{call, spawn, yield_now};
use support::family::{Dice, Tally, each, go};

fn pending<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> bool {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn values_arrive_in_order_and_a_full_channel_makes_the_sender_wait() {
    each(|reach, seed| {
        let (sender, mut receiver) = channel(3);
        go(1, seed, async {
            let producer = reach.start(move || async move {
                for number in 0..100 {
                    sender.send(number).await?;
                }
                Ok::<_, SendError<u32>>(())
            });
            for expected in 0..100 {
                assert!(receiver.len() <= 3);
                assert_eq!(receiver.receive().await, Some(expected));
            }
            assert_eq!(receiver.receive().await, None, "the sender is gone");
            producer.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn values_of_many_senders_on_all_domains_arrive_once_each_and_in_each_ones_order() {
    for seed in 0..20 {
        let (sender, mut receiver) = channel(4);
        go(2, seed, async {
            let mut producers = Vec::new();
            for producer in 0..6_usize {
                let sender = sender.clone();
                let produce = move || async move {
                    for number in 0..50_usize {
                        sender.send((producer, number)).await?;
                    }
                    Ok::<_, SendError<(usize, usize)>>(())
                };
                producers.push(if producer % 2 == 0 { spawn(produce()) } else { call(produce).unwrap() });
            }
            drop(sender);
            let mut next = [0; 6];
            while let Some((producer, number)) = receiver.receive().await {
                assert_eq!(next[producer], number);
                next[producer] += 1;
            }
            assert_eq!(next, [50; 6]);
            for producer in producers {
                producer.await.unwrap();
            }
        })
        .unwrap();
    }
}

#[test]
fn senders_cancelled_at_random_and_a_receiver_that_gives_up_now_and_then_lose_no_value() {
    for seed in 0..30 {
        let (tally, channel) = (Tally::new(), Arc::new(Channel::<_, 2>::new()));
        go(2, seed, async {
            let mut dice = Dice::new(seed);
            let mut senders: Vec<_> = (0..20_usize)
                .map(|number| {
                    let (channel, token) = (channel.clone(), tally.token());
                    let send = move || async move {
                        channel.send((number, token)).await.map_err(|_| "closed")?;
                        Ok::<_, &'static str>(number)
                    };
                    if dice.below(2) == 0 { spawn(send()) } else { call(send).unwrap() }
                })
                .collect();
            let receiving = spawn({
                let (channel, mut dice) = (channel.clone(), dice.split());
                async move {
                    let mut received = Vec::new();
                    loop {
                        if dice.below(2) == 0 {
                            // It gives up: what was meant for it is still there.
                            let mut given_up = Box::pin(channel.receive());
                            if let Poll::Ready(value) = given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                                match value {
                                    Some((number, _token)) => received.push(number),
                                    None => break,
                                }
                            }
                            yield_now().await;
                            continue;
                        }
                        match channel.receive().await {
                            Some((number, _token)) => received.push(number),
                            None => break,
                        }
                    }
                    received
                }
            });
            let mut sent = Vec::new();
            while !senders.is_empty() {
                let sender = senders.swap_remove(dice.below(senders.len() as u64) as usize);
                match dice.below(3) {
                    0 => sender.cancel().await,
                    _ => sent.push(sender.await.unwrap()),
                }
            }
            channel.close();
            let mut received = receiving.await.unwrap();
            received.sort_unstable();
            assert!(received.windows(2).all(|two| two[0] != two[1]), "none twice: {received:?}");
            for number in sent {
                assert!(received.contains(&number), "{number} was sent");
            }
        })
        .unwrap();
        drop(channel);
        assert_eq!(tally.all_dropped(), 20);
    }
}

#[test]
fn a_value_meant_for_a_receiver_that_goes_away_is_the_next_ones() {
    let channel = Channel::<u8, 4>::new();
    let (mut first, mut second) = (Box::pin(channel.receive()), Box::pin(channel.receive()));
    assert!(pending(&mut first) && pending(&mut second));
    channel.try_send(1).unwrap();
    assert_eq!(channel.try_receive(), Err(TryReceiveError::Empty), "it is meant for the first");
    drop(first);
    assert_eq!(second.now_or_never(), Some(Some(1)));
}

#[test]
fn a_place_meant_for_a_sender_that_goes_away_is_the_next_ones() {
    let (sender, mut receiver) = channel(1);
    sender.try_send(1).unwrap();
    let (mut first, mut second) = (Box::pin(sender.send(2)), Box::pin(sender.send(3)));
    assert!(pending(&mut first) && pending(&mut second));
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
    assert_eq!(receiver.try_receive(), Ok(1));
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)), "the place is the first one's");
    drop(first);
    assert_eq!(second.now_or_never(), Some(Ok(())));
    assert_eq!(receiver.try_receive(), Ok(3));
}

#[test]
fn a_reserved_place_is_kept_and_given_back() {
    let (sender, mut receiver) = channel(1);
    let place = sender.reserve().now_or_never().unwrap().unwrap();
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    drop(place);
    sender.reserve().now_or_never().unwrap().unwrap().send(3).unwrap();
    assert_eq!(receiver.try_receive(), Ok(3));
    let place = sender.reserve().now_or_never().unwrap().unwrap();
    receiver.close();
    assert_eq!(place.send(4), Err(SendError(4)), "closed meanwhile");
}

#[test]
fn closing_gives_what_waits_back_and_lets_what_was_sent_be_received() {
    let (sender, mut receiver) = channel(1);
    sender.try_send(1).unwrap();
    let mut waiting = Box::pin(sender.send(2));
    assert!(pending(&mut waiting));
    receiver.close();
    assert_eq!(waiting.now_or_never(), Some(Err(SendError(2))));
    assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    assert!(matches!(sender.reserve().now_or_never(), Some(Err(Closed))));
    assert!(sender.is_closed());
    assert_eq!(receiver.receive().now_or_never(), Some(Some(1)));
    assert_eq!(receiver.receive().now_or_never(), Some(None));
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
}

#[test]
fn a_receiver_that_goes_away_closes_the_channel_and_drops_what_is_in_it() {
    let tally = Tally::new();
    let (sender, receiver) = channel(2);
    sender.try_send(tally.token()).unwrap();
    let mut waiting = Box::pin(async {
        sender.try_send(tally.token()).unwrap();
        sender.send(tally.token()).await
    });
    assert!(pending(&mut waiting));
    drop(receiver);
    assert_eq!(tally.dropped(), 2, "the sender still lives");
    assert!(matches!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(SendError(_)))));
    drop(waiting);
    assert_eq!(tally.all_dropped(), 3);
}

#[test]
fn a_receiver_that_goes_away_drops_everything_though_a_destructor_panics() {
    struct Value(Tally, #[allow(dead_code)] Option<matou_core::sync::Sender<Value>>);
    impl Drop for Value {
        fn drop(&mut self) {
            drop(self.0.token());
            if self.1.is_none() {
                panic!("a value whose destructor panics");
            }
        }
    }
    let tally = Tally::new();
    let (sender, receiver) = channel(3);
    let [again, once_more] = [sender.clone(), sender.clone()];
    for value in [None, Some(again), Some(once_more)] {
        assert!(sender.try_send(Value(tally.clone(), value)).is_ok());
    }
    drop(sender);
    drop(receiver);
    assert_eq!(tally.all_dropped(), 3);
}

#[test]
fn a_channel_is_fed_from_a_thread_outside() {
    let (sender, mut receiver) = channel(8);
    go(0, 0, async {
        let thread = std::thread::spawn(move || {
            for mut number in 0..1000 {
                while let Err(TrySendError::Full(again)) = sender.try_send(number) {
                    number = again;
                    std::thread::yield_now();
                }
            }
        });
        for expected in 0..1000 {
            assert_eq!(receiver.receive().await, Some(expected));
        }
        assert_eq!(receiver.receive().await, None);
        thread.join().unwrap();
    })
    .unwrap();
}

#[test]
fn the_channel_without_an_allocator_says_how_full_it_is() {
    static CHANNEL: Channel<u8, 2> = Channel::new();
    assert!(CHANNEL.is_empty());
    CHANNEL.try_send(1).unwrap();
    CHANNEL.try_send(2).unwrap();
    assert_eq!(CHANNEL.try_send(3).map_err(TrySendError::into_inner), Err(3));
    assert_eq!((CHANNEL.len(), format!("{CHANNEL:?}")), (2, "Channel { len: 2, capacity: 2, closed: false }".into()));
    CHANNEL.close();
    assert!(CHANNEL.is_closed());
    assert_eq!([CHANNEL.try_receive(), CHANNEL.try_receive(), CHANNEL.try_receive()], [Ok(1), Ok(2), Err(TryReceiveError::Closed)]);
}

#[test]
#[should_panic(expected = "room for one value at least")]
fn a_channel_without_room_is_refused() {
    let _ = channel::<u8>(0);
}
