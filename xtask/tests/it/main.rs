//! The repository's own rules as tests, so that `cargo nextest run` enforces them too.

mod tidy;
