//! What fuzzing starts from: inputs made of the packet table, by name. Those of `fuzz/seeds` are
//! these, and `xtask/tests/it/seeds.rs` sees to it.

use std::collections::BTreeMap;

use midge_codec::{Packet, ProtocolVersion};

use crate::packet_table::{ALL, Row, rows};

/// Inputs of one fuzz target by file name.
pub(crate) type Seeds = BTreeMap<String, Vec<u8>>;

const FILTERS_AND_NAMES: &[&str] = &[
    "sport/tennis/+\nsport/tennis/player1",
    "sport/#\nsport",
    "+/monitor/Clients\n$SYS/monitor/Clients",
    "#\n/finance",
    "+/+\n/finance",
    "$SYS/#\n$SYS/",
    "$share/consumer/a/+/#\na//b",
    "a/b/c/d\na/b/c/d",
    "sport/#/x\nsport+",
    "\u{10FFFF}/+\n\u{10FFFF}/ ",
];

/// The seeds of every fuzz target.
pub(crate) fn all() -> [(&'static str, Seeds); 3] {
    [("packet", packet()), ("stream", stream()), ("topic_filter", topic_filter())]
}

/// The valid rows, one packet each.
pub(crate) fn packet() -> Seeds {
    let mut seeds = Seeds::new();
    for row in rows() {
        if let Ok(packet) = &row.expected {
            let packet_type = packet.packet_type().name();
            let name = match packet {
                Packet::Connect(_) => format!("{packet_type} {}", row.name),
                _ => format!("{packet_type} {} {}", row.versions[0], row.name),
            };
            let other = seeds.insert(file_name(&name), row.bytes.to_vec());
            assert_eq!(other, None, "two rows are named {name}");
        }
    }
    seeds
}

/// All valid rows of a version one behind the other, and a broken one at the end, byte by byte and
/// in pieces.
pub(crate) fn stream() -> Seeds {
    let mut seeds = Seeds::new();
    for (number, &version) in ALL.iter().enumerate() {
        let rows = rows();
        let mut stream = Vec::new();
        for row in rows.iter().filter(|row| row.versions.contains(&version)) {
            if belongs_to(row, version) {
                stream.extend_from_slice(row.bytes);
            }
        }
        let number = number as u8;
        let in_pieces = [&[number, 60, 7, 1, 90, 2, 255, 30], stream.as_slice()].concat();
        seeds.insert(file_name(&format!("{version} in pieces")), in_pieces);
        let broken = [&[number, 0, 1, 1, 1, 1, 1, 1], stream.as_slice(), b"\x36\0"].concat();
        seeds.insert(file_name(&format!("{version} byte by byte")), broken);
    }
    seeds
}

/// Whether the row is valid and keeps a stream in `version`.
fn belongs_to(row: &Row, version: ProtocolVersion) -> bool {
    match &row.expected {
        Ok(Packet::Connect(connect)) => connect.version == version,
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Filters and names of the specification's examples, and some that are neither.
pub(crate) fn topic_filter() -> Seeds {
    let numbered = FILTERS_AND_NAMES.iter().enumerate();
    numbered.map(|(number, text)| (format!("{number:02}"), text.as_bytes().to_vec())).collect()
}

/// Lower-case words and numbers with hyphens between them.
fn file_name(words: &str) -> String {
    let separated = words.replace(|c: char| c != '.' && !c.is_ascii_alphanumeric(), "-");
    let words: Vec<_> = separated.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}
