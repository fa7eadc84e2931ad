//! Trees of topic levels: who subscribes to a topic, and which retained messages match a filter.
//!
//! A tree knows names and slots, never what is behind them: nothing here sends or keeps anything.

pub(crate) mod child_table;
pub(crate) mod keyed_list;
pub(crate) mod level_tree;
pub(crate) mod retained_tree;
pub(crate) mod subscription_tree;
