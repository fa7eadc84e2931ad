//! The dialect of Azure Event Grid's custom webhook authentication: JSON both ways, with a
//! `decision` of `allow` or `deny`.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use midge_core::{UserAttribute, UserAttributes, UserFacts};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decision::{Decision, Question, malformed, pem, shown};
use crate::login::Login;

/// What is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_method: Option<&'a str>,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_data: Option<String>,
    /// In PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<String>,
    /// The others that came with it, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate_chain: Option<String>,
}

/// What comes back.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    decision: Option<String>,
    client_authentication_name: Option<Box<str>>,
    attributes: Option<BTreeMap<Box<str>, Value>>,
    expiration: Option<Value>,
    error_reason: Option<Value>,
}

pub(super) fn question(login: &Login) -> Result<Question, String> {
    let base64 = Base64::encode_string;
    let (certificate, chain) = match login.certificates.split_first() {
        Some((first, [])) => (Some(pem(first)), None),
        Some((first, others)) => {
            (Some(pem(first)), Some(others.iter().map(|it| pem(it)).collect()))
        }
        None => (None, None),
    };
    let request = Request {
        client_id: &login.client_id,
        user_name: login.user_name.as_deref(),
        password: login.password.as_deref().map(base64),
        authentication_method: login.method.as_deref(),
        authentication_data: login.data.as_deref().map(base64),
        client_certificate: certificate,
        client_certificate_chain: chain,
    };
    let body = serde_json::to_vec(&request).map_err(|_| "the login cannot be written as JSON")?;
    Ok(Question { content_type: "application/json", body })
}

pub(super) fn decision(body: &[u8], login: &Login) -> Result<Decision, String> {
    let response: Response = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    match response.decision.as_deref() {
        Some("allow") => allow(response),
        Some("deny") => {
            let reason = response.error_reason.as_ref().and_then(Value::as_str);
            let reason = reason.map_or("the server denies it".into(), |it| shown(it, login));
            Ok(Decision::Deny(reason.into()))
        }
        Some(_) => Err("`decision` of the answer is neither `allow` nor `deny`".into()),
        None => Err("the answer has no `decision`".into()),
    }
}

fn allow(response: Response) -> Result<Decision, String> {
    let name = response.client_authentication_name.filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err("the answer allows, but has no `clientAuthenticationName`".into());
    };
    let facts = UserFacts {
        attributes: attributes(response.attributes.unwrap_or_default())?,
        expires_at: expiration(response.expiration.as_ref())?,
        ..UserFacts::default()
    };
    Ok(Decision::allow(Some(name), facts))
}

fn attributes(values: BTreeMap<Box<str>, Value>) -> Result<UserAttributes, String> {
    let wrong =
        || "an attribute of the answer is no text, whole number or list of texts".to_owned();
    let text = |value: Value| match value {
        Value::String(text) => Ok(text.into_boxed_str()),
        _ => Err(wrong()),
    };
    let attribute = |value| match value {
        Value::String(text) => Ok(UserAttribute::Text(text.into())),
        Value::Number(number) => number.as_i64().map(UserAttribute::Number).ok_or_else(wrong),
        Value::Array(values) => {
            let texts: Result<_, _> = values.into_iter().map(text).collect();
            Ok(UserAttribute::List(texts?))
        }
        _ => Err(wrong()),
    };
    values.into_iter().map(|(name, value)| Ok((name, attribute(value)?))).collect()
}

/// Returns the end in seconds since 1970. Event Grid's documentation shows a number, and once a
/// text.
fn expiration(value: Option<&Value>) -> Result<Option<u64>, String> {
    let seconds = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    seconds.map(Some).ok_or_else(|| "`expiration` is not in seconds since 1970".into())
}
