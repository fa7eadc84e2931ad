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
    Many(Vec<NonZeroU32>),
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

    /// Adds the identifier of one more subscription that has made the delivery.
    pub(crate) fn push(&mut self, identifier: NonZeroU32) {
        match self {
            Self::None => *self = Self::One(identifier),
            Self::One(first) => *self = Self::Many(vec![*first, identifier]),
            Self::Many(many) => many.push(identifier),
        }
    }
}

impl From<&[NonZeroU32]> for Identifiers {
    fn from(identifiers: &[NonZeroU32]) -> Self {
        match identifiers {
            [] => Self::None,
            [one] => Self::One(*one),
            many => Self::Many(many.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::Identifiers;

    #[test]
    fn identifiers_are_added_in_their_order() {
        let numbers: Vec<_> = (1..=4).filter_map(NonZeroU32::new).collect();
        let mut identifiers = Identifiers::None;
        for (count, &number) in (1..).zip(&numbers) {
            identifiers.push(number);
            assert_eq!(identifiers.as_slice(), &numbers[..count]);
            assert_eq!(identifiers, Identifiers::from(&numbers[..count]));
        }
    }
}
