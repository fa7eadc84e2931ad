//! Moving a store by export and import: an import takes everything that a broker has left, wherever
//! it was cut off, and exporting it again gives the same. Nothing changes on the way.

use std::sync::Arc;

use midge_core::Timestamp;
use midge_store::testing::FaultyDisk;
use midge_store::tools::{export, import_into};

use crate::log::{Concerned, Log};
use crate::plan::Plan;

/// Moves what is on this disk to another one, and compares the exports of both.
pub(crate) fn check(disk: &Arc<FaultyDisk>, now: Timestamp, plan: &Plan, log: &Log) {
    let Some(text) = exported(disk, log) else {
        return;
    };
    let moved = Arc::new(FaultyDisk::new(1));
    let imported = import_into(moved.clone(), &mut text.as_slice(), plan.options, now, &mut |_| {});
    if let Err(error) = imported {
        let text = String::from_utf8_lossy(&text);
        log.fail(Concerned::default(), &format!("an export is refused: {error}\n{text}"));
    }
    if exported(&moved, log).as_ref() != Some(&text) {
        log.fail(Concerned::default(), "the export of an import is another one");
    }
}

/// Exports the store; `None` before there is one.
fn exported(disk: &Arc<FaultyDisk>, log: &Log) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let exported = export(disk.clone(), &mut text, &mut |_| {}).ok()?;
    if !exported.is_whole() {
        log.fail(Concerned::default(), &format!("an export is not whole: {exported:#?}"));
    }
    Some(text)
}
