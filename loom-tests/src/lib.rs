//! Models of matou's lock-free parts; see `tests/`.
