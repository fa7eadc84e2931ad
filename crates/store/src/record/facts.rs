//! What authentication has found out about the user of a Session: a part of the Session's record.

use std::sync::Arc;

use midge_core::{CredentialRule, UserAttribute, UserAttributes, UserFacts};

use super::bytes::{BadRecord, Reader, put_bytes, put_varint, unzigzag, zigzag};

const MEMBER: u8 = 1;
const SUPERUSER: u8 = 1 << 1;
const EXPIRES: u8 = 1 << 2;
const KNOWN: u8 = MEMBER | SUPERUSER | EXPIRES;

const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const LIST: u8 = 3;

const ALLOWS: u8 = 1;
const PUBLISH: u8 = 1 << 1;
const SUBSCRIBE: u8 = 1 << 2;
const RETAIN_GIVEN: u8 = 1 << 3;
const RETAIN: u8 = 1 << 4;

pub(super) fn encode(facts: &UserFacts, out: &mut Vec<u8>) {
    let UserFacts { member, attributes, groups, is_superuser, rules, expires_at } = facts;
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    out.push(
        flag(member.is_some(), MEMBER)
            | flag(*is_superuser, SUPERUSER)
            | flag(expires_at.is_some(), EXPIRES),
    );
    if let Some(member) = member {
        put_bytes(out, member.as_bytes());
    }
    if let Some(at) = expires_at {
        put_varint(out, *at);
    }
    put_varint(out, attributes.len() as u64);
    for (name, value) in attributes {
        put_bytes(out, name.as_bytes());
        encode_attribute(value, out);
    }
    put_texts(out, groups);
    put_varint(out, rules.len() as u64);
    for CredentialRule { allows, publish, subscribe, topics, qos, retain } in rules {
        out.push(
            flag(*allows, ALLOWS)
                | flag(*publish, PUBLISH)
                | flag(*subscribe, SUBSCRIBE)
                | flag(retain.is_some(), RETAIN_GIVEN)
                | flag(*retain == Some(true), RETAIN),
        );
        out.push(*qos);
        put_bytes(out, topics.as_bytes());
    }
}

fn encode_attribute(value: &UserAttribute, out: &mut Vec<u8>) {
    match value {
        UserAttribute::Text(text) => {
            out.push(TEXT);
            put_bytes(out, text.as_bytes());
        }
        UserAttribute::Number(number) => {
            out.push(NUMBER);
            put_varint(out, zigzag(*number));
        }
        UserAttribute::List(texts) => {
            out.push(LIST);
            put_texts(out, texts);
        }
    }
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Arc<UserFacts>, BadRecord> {
    let flags = reader.byte()?;
    if flags & !KNOWN != 0 {
        return Err(BadRecord("a flag of a user is unknown"));
    }
    let member = if flags & MEMBER == 0 { None } else { Some(reader.str()?.into()) };
    let expires_at = if flags & EXPIRES == 0 { None } else { Some(reader.varint()?) };
    let mut attributes = UserAttributes::new();
    for _ in 0..reader.varint()? {
        let name = reader.str()?.into();
        if attributes.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(BadRecord("the attributes of a user are not in order"));
        }
        attributes.insert(name, decode_attribute(reader)?);
    }
    let groups = texts(reader)?;
    let mut rules = Vec::new();
    for _ in 0..reader.varint()? {
        rules.push(decode_rule(reader)?);
    }
    let (is_superuser, rules) = (flags & SUPERUSER != 0, rules.into());
    Ok(Arc::new(UserFacts { member, attributes, groups, is_superuser, rules, expires_at }))
}

fn decode_attribute(reader: &mut Reader<'_>) -> Result<UserAttribute, BadRecord> {
    Ok(match reader.byte()? {
        TEXT => UserAttribute::Text(reader.str()?.into()),
        NUMBER => UserAttribute::Number(unzigzag(reader.varint()?)),
        LIST => UserAttribute::List(texts(reader)?),
        _ => return Err(BadRecord("the kind of an attribute is unknown")),
    })
}

fn decode_rule(reader: &mut Reader<'_>) -> Result<CredentialRule, BadRecord> {
    let (flags, qos) = (reader.byte()?, reader.byte()?);
    let retain_is_sound = flags & (RETAIN_GIVEN | RETAIN) != RETAIN;
    if flags > (RETAIN << 1) - 1 || !retain_is_sound || qos > 0b111 {
        return Err(BadRecord("a rule of a credential is not possible"));
    }
    let is_set = |flag| flags & flag != 0;
    Ok(CredentialRule {
        allows: is_set(ALLOWS),
        publish: is_set(PUBLISH),
        subscribe: is_set(SUBSCRIBE),
        topics: reader.str()?.into(),
        qos,
        retain: is_set(RETAIN_GIVEN).then(|| is_set(RETAIN)),
    })
}

fn put_texts(out: &mut Vec<u8>, texts: &[Box<str>]) {
    put_varint(out, texts.len() as u64);
    texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
}

fn texts(reader: &mut Reader<'_>) -> Result<Box<[Box<str>]>, BadRecord> {
    let mut texts = Vec::new();
    for _ in 0..reader.varint()? {
        texts.push(reader.str()?.into());
    }
    Ok(texts.into())
}
