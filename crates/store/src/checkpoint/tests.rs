//! Checkpoints under damage.
