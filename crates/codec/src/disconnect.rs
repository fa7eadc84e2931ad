//! DISCONNECT: the last packet of a Network Connection.

/// A DISCONNECT packet. Before 5.0 it is empty and only a Client sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect<'a> {
    pub reason_code: ReasonCode,
    pub session_expiry_interval: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub server_reference: Option<&'a str>,
}
