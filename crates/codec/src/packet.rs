//! The Control Packet as one type, and the two doors of the codec: [`decode`] and
//! [`Packet::encode`].

/// One MQTT Control Packet. What it holds borrows from the bytes it was decoded from.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    Connect(Box<Connect<'a>>),
    ConnAck(Box<ConnAck<'a>>),
    Publish(Publish<'a>),
    PubAck(Acknowledgement<'a>),
    PubRec(Acknowledgement<'a>),
    PubRel(Acknowledgement<'a>),
    PubComp(Acknowledgement<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// What [`decode`] found at the start of the bytes.
pub enum Decoded<'a> {
    /// A whole packet, and how many bytes it took.
    Packet { packet: Packet<'a>, length: usize },
    /// Not yet a whole packet; `needed` is its whole length in bytes where the fixed header tells
    /// it already, else the least that has to be there before it does.
    Incomplete { needed: usize },
}
