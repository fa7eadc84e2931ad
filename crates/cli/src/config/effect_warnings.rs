//! Settings that do less than they seem to, but that somebody may have a reason for: a broker
//! starts with them, and `midge config check` warns of them.

use super::Loaded;
use super::configuration::Configuration;
use super::effective::Effective;
use super::value::Value;

/// Returns a warning for each such setting.
pub(super) fn warnings(loaded: &Loaded) -> Vec<String> {
    let lines = loaded.effective.iter().filter(|line| line.is_given());
    let doubts = lines.filter_map(|line| {
        let doubt = match (line.section, line.key) {
            ("listener", "connections_max") => connections(line, loaded),
            ("log", "trace_client") => traced_client(line, loaded),
            ("auto_subscribe", "filter") => user_name(line),
            ("auto_subscribe", "qos") => granted_qos(line, loaded),
            _ => None,
        };
        doubt.map(|doubt| format!("{}{doubt}", loaded.place(&line.origin)))
    });
    doubts.collect()
}

/// A listener never has more connections than the broker.
fn connections(line: &Effective, loaded: &Loaded) -> Option<String> {
    let Some(Value::Integer(own)) = line.value else { return None };
    let all = u64::from(loaded.configuration.limits.connections_max);
    (own > all).then(|| {
        format!(
            "`connections_max` ({own}) is never reached, as [limits] lets in {all} for all \
             listeners together"
        )
    })
}

/// A Client is granted no more than the `qos_max` of the listener that it comes by.
fn granted_qos(line: &Effective, loaded: &Loaded) -> Option<String> {
    let Some(Value::Integer(asked)) = line.value else { return None };
    let Configuration { listeners, capabilities, .. } = &loaded.configuration;
    let of_listeners = listeners.iter().map(|listener| listener.capabilities.qos_max);
    let most = of_listeners.max().unwrap_or(capabilities.qos_max) as u64;
    (asked > most).then(|| {
        format!(
            "`qos` ({asked}) is granted as {most}, as `qos_max` is not above that for any Client"
        )
    })
}

/// Only the CONNECT of a Client that is always refused has a line.
fn traced_client(line: &Effective, loaded: &Loaded) -> Option<String> {
    let Some(Value::Text(client_id)) = &line.value else { return None };
    let bytes_max = loaded.configuration.limits.client_identifier_bytes_max;
    let why = if client_id.starts_with('$') {
        "Client Identifiers that begin with $ are the broker's own".to_string()
    } else if client_id.len() > usize::from(bytes_max) {
        format!("it is longer than `client_identifier_bytes_max` ({bytes_max}) of [limits]")
    } else {
        return None;
    };
    Some(format!(
        "`trace_client` names a Client that is always refused: {why}; only its CONNECT has a line"
    ))
}

/// This program has no authentication, and a user name counts once it is authenticated.
fn user_name(line: &Effective) -> Option<String> {
    let Some(Value::Text(filter)) = &line.value else { return None };
    filter.contains("${user_name}").then(|| {
        format!(
            "nobody gets the subscription to {filter:?}: a user name counts once it is \
             authenticated, and this version authenticates nobody"
        )
    })
}
