//! The output formats of `-F`, as mosquitto_sub has them: a template is parsed once, then rendered
//! for each message.
//!
//! `%` starts a part of the message, `@` a part of the time (as strftime's `%`), `\` an escape.
//! A format that cannot be rendered must be refused by [`Template::parse`], never later.

use std::fmt::Write as _;

use jiff::Zoned;
use jiff::fmt::strtime;

use super::json::{self, NotJson};
use super::message::Message;

/// A parsed format.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
    pretty_json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    /// A strftime format of one conversion.
    Time(String),
    Field(char, Layout),
    /// ` payload`, or ` (null)` for an empty one, as `-v` prints it.
    VerbosePayload,
}

/// How a field is laid out, such as `%-010.10t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layout {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// The letters that may follow a `%`.
const FIELDS: &str = "ACDEFIJPRSUXjlmpqrtx";
const FIELD_WIDTH_MAX: usize = 10_000;
const ISO_8601: &str = "%Y-%m-%dT%H:%M:%S%z";

impl Template {
    /// The payload alone: the format without `-F` and `-v`.
    pub(crate) fn payload() -> Self {
        Self { pieces: vec![Piece::Field('p', Layout::default())], pretty_json: false }
    }

    /// Topic and payload: the format of `-v`.
    pub(crate) fn verbose() -> Self {
        let topic = Piece::Field('t', Layout::default());
        Self { pieces: vec![topic, Piece::VerbosePayload], pretty_json: false }
    }

    /// Reads a format. The error names the unknown sequence.
    pub(crate) fn parse(format: &str, pretty_json: bool) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = format.chars();
        while let Some(character) = rest.next() {
            let piece = match character {
                '%' => parse_field(&mut rest)?,
                '@' => parse_time(&mut rest)?,
                '\\' => Piece::Literal(vec![parse_escape(&mut rest)?]),
                other => Piece::Literal(other.encode_utf8(&mut [0; 4]).as_bytes().to_vec()),
            };
            if let Piece::Literal(bytes) = piece {
                literal.extend(bytes);
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces, pretty_json })
    }

    /// Appends `message` to `out`. `now` is called only when the format shows the time.
    pub(crate) fn render(
        &self,
        message: &Message,
        now: impl Fn() -> Zoned,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let mut time = None;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Time(format) => {
                    let time = time.get_or_insert_with(&now);
                    out.extend_from_slice(strftime(format, time).as_bytes());
                }
                Piece::VerbosePayload if message.payload.is_empty() => {
                    out.extend_from_slice(b" (null)");
                }
                Piece::VerbosePayload => {
                    out.push(b' ');
                    out.extend_from_slice(&message.payload);
                }
                Piece::Field('j' | 'J', _) => {
                    let raw = *piece == Piece::Field('J', Layout::default());
                    let time = time.get_or_insert_with(&now);
                    json::render(message, time, raw, self.pretty_json, out)?;
                }
                Piece::Field(letter @ ('I' | 'U'), layout) => {
                    let time = time.get_or_insert_with(&now);
                    render_timestamp(*letter, *layout, time, out);
                }
                Piece::Field(letter, layout) => render_field(*letter, *layout, message, out),
            }
        }
        Ok(())
    }
}

fn parse_field(rest: &mut std::str::Chars<'_>) -> Result<Piece, String> {
    let mut layout = Layout::default();
    let mut next = rest.next();
    while let Some(flag @ ('-' | '0')) = next {
        layout.left |= flag == '-';
        layout.zero |= flag == '0';
        next = rest.next();
    }
    layout.width = parse_width(&mut next, rest)?.unwrap_or(0);
    if next == Some('.') {
        next = rest.next();
        layout.precision = Some(parse_width(&mut next, rest)?.unwrap_or(0));
    }
    match next {
        Some('%') => Ok(Piece::Literal(vec![b'%'])),
        // JSON has no layout. Leaving it out lets `render` tell `%j` from `%J`.
        Some(letter @ ('j' | 'J')) => Ok(Piece::Field(letter, Layout::default())),
        Some(letter) if FIELDS.contains(letter) => Ok(Piece::Field(letter, layout)),
        Some(letter) => Err(format!("'%{letter}' is not a part of a message: see --help for -F")),
        None => Err("the format ends in the middle of a %: write % itself as %%".to_owned()),
    }
}

/// Reads the digits that begin with `next`, and leaves in `next` the character after them.
fn parse_width(
    next: &mut Option<char>,
    rest: &mut std::str::Chars<'_>,
) -> Result<Option<usize>, String> {
    let mut width = None;
    while let Some(digit) = next.and_then(|digit| digit.to_digit(10)) {
        let value = width.unwrap_or(0) * 10 + digit as usize;
        if value > FIELD_WIDTH_MAX {
            return Err(format!("a field is at most {FIELD_WIDTH_MAX} characters wide"));
        }
        width = Some(value);
        *next = rest.next();
    }
    Ok(width)
}

fn parse_time(rest: &mut std::str::Chars<'_>) -> Result<Piece, String> {
    match rest.next() {
        Some('@') => Ok(Piece::Literal(vec![b'@'])),
        Some('N') => Ok(Piece::Time("%9N".to_owned())),
        Some(letter) => {
            let format = format!("%{letter}");
            match strtime::format(&format, &Zoned::default()) {
                Ok(_) if letter.is_ascii_alphabetic() || letter == '%' => Ok(Piece::Time(format)),
                _ => Err(format!("'@{letter}' is not a part of the time: see strftime(3)")),
            }
        }
        None => Err("the format ends in the middle of a @: write @ itself as @@".to_owned()),
    }
}

fn parse_escape(rest: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match rest.next() {
        Some('\\') => Ok(b'\\'),
        Some('0') => Ok(0),
        Some('a') => Ok(0x07),
        Some('e') => Ok(0x1b),
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('v') => Ok(0x0b),
        Some(letter) => Err(format!("'\\{letter}' is not an escape: see --help for -F")),
        None => Err("the format ends in the middle of a \\: write \\ itself as \\\\".to_owned()),
    }
}

/// Formats the time. It cannot fail: `format` was tried when it was parsed.
fn strftime(format: &str, time: &Zoned) -> String {
    strtime::format(format, time).unwrap_or_default()
}

fn render_timestamp(letter: char, layout: Layout, time: &Zoned, out: &mut Vec<u8>) {
    if letter == 'I' {
        render_text(&strftime(ISO_8601, time), layout, out);
    } else {
        let timestamp = time.timestamp();
        let nanoseconds = timestamp.subsec_nanosecond();
        out.extend_from_slice(format!("{}.{nanoseconds:09}", timestamp.as_second()).as_bytes());
    }
}

fn render_field(letter: char, layout: Layout, message: &Message, out: &mut Vec<u8>) {
    let number = |value: Option<u32>, out: &mut Vec<u8>| render_number(value, layout, out);
    let text = |value: Option<&String>, out: &mut Vec<u8>| {
        render_text(value.map_or("", String::as_str), layout, out);
    };
    match letter {
        'A' => number(message.topic_alias.map(u32::from), out),
        'C' => text(message.content_type.as_ref(), out),
        'D' => out.extend_from_slice(message.correlation_data.as_deref().unwrap_or_default()),
        'E' => number(message.expiry_interval_seconds, out),
        'F' => number(message.payload_is_utf8.map(u32::from), out),
        'l' => number(Some(u32::try_from(message.payload.len()).unwrap_or(u32::MAX)), out),
        'm' => number(Some(message.packet_id.map_or(0, |id| u32::from(id.get()))), out),
        'P' => render_user_properties(message, out),
        'p' => render_bytes(&message.payload, layout, out),
        'q' => out.push(b'0' + message.qos as u8),
        'R' => text(message.response_topic.as_ref(), out),
        'r' => out.push(b'0' + u8::from(message.retain)),
        'S' => number(message.subscription_identifiers.first().copied(), out),
        't' => text(Some(&message.topic), out),
        'x' | 'X' => render_hexadecimal(&message.payload, letter == 'X', layout, out),
        _ => unreachable!("FIELDS holds no other letter"),
    }
}

fn render_user_properties(message: &Message, out: &mut Vec<u8>) {
    for (index, (name, value)) in message.user_properties.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        out.extend_from_slice(format!("{space}{name}:{value}").as_bytes());
    }
}

/// Renders a number, padded with zeros or blanks. Without a number there is only padding.
fn render_number(value: Option<u32>, layout: Layout, out: &mut Vec<u8>) {
    let digits = value.map_or_else(String::new, |value| value.to_string());
    render_padded(digits.as_bytes(), digits.len(), layout, out);
}

/// Renders text, cut to the precision and padded with blanks; both count characters.
fn render_text(text: &str, layout: Layout, out: &mut Vec<u8>) {
    let end = layout.precision.and_then(|precision| text.char_indices().nth(precision));
    let text = end.map_or(text, |(end, _)| &text[..end]);
    let layout = Layout { zero: false, ..layout };
    render_padded(text.as_bytes(), text.chars().count(), layout, out);
}

/// Renders bytes as they are. As in mosquitto_sub, a width is also the most that is shown.
fn render_bytes(bytes: &[u8], layout: Layout, out: &mut Vec<u8>) {
    let length = if layout.width > 0 { bytes.len().min(layout.width) } else { bytes.len() };
    render_padded(&bytes[..length], length, layout, out);
}

fn render_hexadecimal(bytes: &[u8], upper: bool, layout: Layout, out: &mut Vec<u8>) {
    let length = if layout.width > 0 { bytes.len().min(layout.width / 2) } else { bytes.len() };
    let mut digits = String::with_capacity(2 * length);
    for byte in &bytes[..length] {
        // Writing to a String does not fail.
        let _ = if upper { write!(digits, "{byte:02X}") } else { write!(digits, "{byte:02x}") };
    }
    render_padded(digits.as_bytes(), digits.len(), layout, out);
}

fn render_padded(bytes: &[u8], length: usize, layout: Layout, out: &mut Vec<u8>) {
    let padding = layout.width.saturating_sub(length);
    if layout.left {
        out.extend_from_slice(bytes);
        out.extend(std::iter::repeat_n(b' ', padding));
    } else {
        let pad = if layout.zero { b'0' } else { b' ' };
        out.extend(std::iter::repeat_n(pad, padding));
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
