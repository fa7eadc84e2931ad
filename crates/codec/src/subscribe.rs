//! SUBSCRIBE: one or more Topic Filters with their options.

/// A SUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    pub packet_id: PacketIdentifier,
    /// 1 to 268,435,455; absent before 5.0.
    pub subscription_identifier: Option<NonZeroU32>,
    pub user_properties: UserProperties<'a>,
    pub subscriptions: Subscriptions<'a>,
}

/// One entry of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subscription<'a> {
    /// The filter as sent: UTF-8 checked, but its wildcards and `$share` form only by
    /// [`TopicFilter::parse`], because a bad filter fails alone, with a Reason Code in the SUBACK.
    pub filter: &'a str,
    pub options: SubscriptionOptions,
}

/// Subscription Options; before 5.0 only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

/// When a subscription makes the Server send retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    #[default]
    SendAtSubscribe = 0,
    SendIfNew = 1,
    DoNotSend = 2,
}

/// The entries of a SUBSCRIBE in their order: validated bytes of a received packet, or a slice of
/// entries to be sent. Iterating allocates nothing.
#[derive(Clone, Copy)]
pub struct Subscriptions<'a>(Source<'a>);
