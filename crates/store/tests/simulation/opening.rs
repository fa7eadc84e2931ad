//! The store opens its directory, and the power may fail again meanwhile.

use std::sync::Arc;

use midge_store::testing::{FaultyDisk, Random};
use midge_store::{Disk, Engine, OpenError, Opened, Reading};

use crate::log::{Concerned, Log};
use crate::plan::Plan;
use crate::world::Cut;

/// Returns the disk as the next process finds it.
pub(crate) fn after(cut: Cut, disk: &FaultyDisk) -> Arc<FaultyDisk> {
    let found = match cut {
        Cut::Power => disk.power_cut(),
        Cut::Kill | Cut::Order => disk.snapshot(),
    };
    found.cut_after(1 << 60);
    Arc::new(found)
}

/// Opens the store, with as many attempts as it takes. Returns the disk, what was opened, and the
/// number of disk operations after which the power fails again.
pub(crate) fn open(
    mut disk: Arc<FaultyDisk>,
    plan: &Plan,
    random: &mut Random,
    log: &Log,
    reading: Reading,
) -> (Arc<FaultyDisk>, Opened, u64) {
    loop {
        let mut ends_after = u64::MAX;
        if plan.cuts_while_opening && random.one_in(3) {
            let operations = 1 + random.below(40) as u64;
            disk.cut_after(operations);
            ends_after = disk.operations() + operations;
        }
        let opened = Engine::open(Arc::clone(&disk) as Arc<dyn Disk>, plan.options, reading);
        match opened {
            Ok(opened) => {
                log.note(Concerned::default(), || format!("{:?}", opened.report));
                if !opened.report.is_sound() {
                    let text = format!("the store is not sound: {:#?}", opened.report);
                    log.fail(Concerned::default(), &text);
                }
                return (disk, opened, ends_after);
            }
            Err(_) if disk.operations() >= ends_after => {
                log.note(Concerned::default(), || "the power fails while opening".into());
                let cut = if plan.is_kill_only { Cut::Kill } else { Cut::Power };
                disk = after(cut, &disk);
            }
            Err(OpenError::Io { error, .. }) if error.kind() == std::io::ErrorKind::StorageFull => {
                log.note(Concerned::default(), || "no room to open: the disk gets room".into());
                disk.set_capacity(u64::MAX);
                disk.cut_after(1 << 60);
            }
            Err(error) if plan.syncs_fail => {
                log.note(Concerned::default(), || format!("cannot open: {error}"));
                disk = after(Cut::Power, &disk);
            }
            Err(error) => log.fail(Concerned::default(), &format!("cannot open: {error}")),
        }
    }
}
