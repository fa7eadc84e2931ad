//! The Subscription Identifiers of a delivery.

use std::num::NonZeroU32;

/// The Subscription Identifiers of all subscriptions that made a delivery [MQTT-3.3.4-3].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// None.
    #[default]
    None,
    /// One: the usual case.
    One(NonZeroU32),
    /// Several.
    Many(Box<[NonZeroU32]>),
}

impl Identifiers {
    /// All of them.
    pub fn as_slice(&self) -> &[NonZeroU32] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl From<&[NonZeroU32]> for Identifiers {
    fn from(identifiers: &[NonZeroU32]) -> Self {
        match identifiers {
            [] => Self::None,
            [one] => Self::One(*one),
            many => Self::Many(many.into()),
        }
    }
}
