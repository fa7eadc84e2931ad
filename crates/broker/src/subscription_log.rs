//! The log line about a subscription, whether a Client asks for it or a start restores it.

use midge_codec::ReasonCode;
use midge_core::Identity;

/// Logs a subscription that was made or refused. `when` says of which kind it was, if it was no
/// usual one.
pub(crate) fn log_subscribed(client: &Identity, filter: &str, code: ReasonCode, when: &str) {
    let (name, number) = (code.name(), code as u8);
    let (level, became) = match code.is_error() {
        true => (log::Level::Info, "was refused"),
        false => (log::Level::Debug, "was granted"),
    };
    log::log!(
        level,
        client_id = &*client.client_id, user_name = client.user_name.as_deref(),
        filter = filter, reason_code = number;
        "the {when}subscription of {client} to {filter:?} {became}: {name} (0x{number:02X})"
    );
}
