//! The bindings of a model in effect: a source of rules.

use std::collections::HashMap;
use std::sync::Arc;

use midge_core::Identity;

use crate::model::{Binding, Model, Permission};
use crate::pattern::Pattern;
use crate::rule::{QosSet, TopicPattern};
use crate::rule_source::{Judge, RuleSource};
use crate::statements::{Holder, Statements, StatementsBuilder};
use crate::tree::Terms;

/// Bindings, compiled.
#[derive(Debug)]
pub(crate) struct Bindings {
    statements: Arc<Statements>,
    list: Box<[Binding]>,
}

impl Bindings {
    /// Compiles the bindings of a model whose references are right.
    pub(crate) fn new(model: &Model) -> Self {
        let mut builder = StatementsBuilder::default();
        let mut spaces: HashMap<&str, Vec<Pattern>> = HashMap::new();
        for space in &model.topic_spaces {
            let topics: Vec<_> = space.templates.iter().cloned().map(TopicPattern::new).collect();
            spaces.insert(&space.name, builder.compile(&topics));
        }
        for binding in &model.bindings {
            let publishes = binding.permission == Permission::Publisher;
            let terms = Terms::new(true, (publishes, !publishes), QosSet::ALL, None);
            let patterns = &spaces[&*binding.topic_space];
            builder.add(terms, patterns, None, [Holder::group(&binding.group)]);
        }
        Self { statements: Arc::new(builder.build()), list: model.bindings.clone().into() }
    }
}

impl RuleSource for Bindings {
    fn judge(&self, client: &Identity) -> Option<Box<dyn Judge>> {
        self.statements.judge(client).map(|it| Box::new(it) as Box<dyn Judge>)
    }

    fn describe(&self, rule: u32) -> String {
        self.list[rule as usize].to_string()
    }
}
