//! A message on its way to one receiver.

use midge_codec::QoS;

use crate::base::identifiers::Identifiers;
use crate::base::identity::GroupId;
use crate::base::message::Message;

/// A message for one Session, and how that Session gets it. Takes at most 48 bytes besides the
/// message, which is shared by all that wait for it.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Delivery {
    pub(crate) message: Message,
    /// The lower of the published and the granted QoS.
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Identifiers,
    /// The shared subscription it comes from: another member may get it if this one leaves.
    pub(crate) group: Option<GroupId>,
}
