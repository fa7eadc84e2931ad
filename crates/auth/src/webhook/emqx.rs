//! The dialect of EMQX's HTTP authenticator: a `result` of `allow`, `deny` or `ignore`, and with it
//! facts about the Client and access rules.

use std::collections::BTreeMap;

use midge_core::{UserAttribute, UserFacts};
use serde::{Deserialize, Serialize};

use super::decision::{Decision, Question, malformed, pem};
use super::emqx_rules::{Rule, credential_rules};
use crate::login::Login;

/// What is sent as JSON.
#[derive(Serialize)]
struct Request<'a> {
    clientid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peerhost: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_common_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_pem: Option<String>,
}

/// What comes back.
#[derive(Deserialize)]
struct Response {
    result: Option<String>,
    is_superuser: Option<bool>,
    client_attrs: Option<BTreeMap<Box<str>, Box<str>>>,
    expire_at: Option<u64>,
    acl: Option<Vec<Rule>>,
}

pub(super) fn question(login: &Login, sends_form: bool) -> Result<Question, String> {
    if sends_form {
        let body = form(login).into_bytes();
        return Ok(Question { content_type: "application/x-www-form-urlencoded", body });
    }
    let password = login.password.as_deref().map(std::str::from_utf8).transpose();
    let Ok(password) = password else {
        return Err("the Password is no text, so JSON cannot hold it: use a form".into());
    };
    let request = Request {
        clientid: &login.client_id,
        username: login.user_name.as_deref(),
        password,
        peerhost: peer_host(login),
        listener: login.listener.as_deref(),
        cert_common_name: login.proxy_common_name.as_deref(),
        cert_pem: login.certificates.first().map(|it| pem(it)),
    };
    let body = serde_json::to_vec(&request).map_err(|_| "the login cannot be written as JSON")?;
    Ok(Question { content_type: "application/json", body })
}

fn peer_host(login: &Login) -> Option<String> {
    login.address.map(|address| address.to_canonical().to_string())
}

fn form(login: &Login) -> String {
    let mut form = String::new();
    let mut add = |name: &str, value: Option<&[u8]>| {
        let Some(value) = value else { return };
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        for byte in value {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                    form.push(char::from(*byte));
                }
                _ => form.push_str(&format!("%{byte:02X}")),
            }
        }
    };
    let text = |text: &Option<Box<str>>| text.as_ref().map(|it| it.as_bytes().to_vec());
    add("clientid", Some(login.client_id.as_bytes()));
    add("username", text(&login.user_name).as_deref());
    add("password", login.password.as_deref());
    add("peerhost", peer_host(login).as_deref().map(str::as_bytes));
    add("listener", text(&login.listener).as_deref());
    add("cert_common_name", text(&login.proxy_common_name).as_deref());
    let certificate = login.certificates.first().map(|it| pem(it));
    add("cert_pem", certificate.as_deref().map(str::as_bytes));
    form
}

pub(super) fn decision(body: &[u8], login: &Login) -> Result<Decision, String> {
    let response: Response = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    match response.result.as_deref() {
        Some("allow") => {
            let attributes = response.client_attrs.unwrap_or_default().into_iter();
            let facts = UserFacts {
                attributes: attributes.map(|(name, it)| (name, UserAttribute::Text(it))).collect(),
                is_superuser: response.is_superuser.unwrap_or(false),
                rules: credential_rules(response.acl.unwrap_or_default())?,
                expires_at: response.expire_at,
                ..UserFacts::default()
            };
            Ok(Decision::allow(login.user_name.clone(), facts))
        }
        Some("deny") => Ok(Decision::Deny("the server denies it".into())),
        Some("ignore") => Ok(Decision::NotMine),
        Some(_) => Err("`result` of the answer is not `allow`, `deny` or `ignore`".into()),
        None => Err("the answer has no `result`".into()),
    }
}
