//! What passes between the program that embeds a broker and the broker's threads: messages, queues,
//! replies, and calls of the program's code. Nothing in here knows a worker, and nothing lets a
//! thread of the broker wait for the program.

pub(crate) mod bounded_queue;
pub(crate) mod event_hub;
pub(crate) mod guard;
pub(crate) mod message;
pub(crate) mod publish_window;
pub(crate) mod receiver;
pub(crate) mod reply;
pub(crate) mod session;
pub(crate) mod subscription;
