//! Conversations that both versions of the protocol demand alike.
