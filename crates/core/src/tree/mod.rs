//! Trees of topic levels: who subscribes to a topic, and the retained messages that a filter
//! matches.
//!
//! A tree knows names and slots: nothing here sends anything, or knows of Sessions.

pub(crate) mod child_table;
pub(crate) mod keyed_list;
pub(crate) mod level_tree;
pub(crate) mod retained_tree;
pub(crate) mod subscription_tree;
