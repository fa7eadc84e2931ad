//! UNSUBSCRIBE: one or more Topic Filters to be given up.

/// An UNSUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    pub packet_id: PacketIdentifier,
    pub user_properties: UserProperties<'a>,
    pub filters: TopicFilters<'a>,
}

/// The filters of an UNSUBSCRIBE in their order; as `Subscriptions`, from bytes or from a slice.
#[derive(Clone, Copy)]
pub struct TopicFilters<'a>(Source<'a>);
