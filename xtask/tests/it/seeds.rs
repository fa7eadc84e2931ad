//! The seeds of fuzz targets on disk are those that the codec's packet table and the core's peer
//! messages give, so both change together. The tests of those crates may read no files.

use std::{collections::BTreeMap, env, fs, path::Path};

use crate::{
    codec_seeds::{Seeds, all},
    peer_seeds,
};

/// Set to any value, it has the seeds written instead of compared.
const WRITE: &str = "MIDGE_WRITE_SEEDS";

#[test]
fn seeds_are_those_of_the_tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (target, seeds) in all().into_iter().chain([("peer", peer_seeds::all())]) {
        let directory = root.join(target);
        if env::var_os(WRITE).is_some() {
            write(&directory, &seeds);
        }
        let found = read(&directory);
        assert!(found == seeds, "fuzz/seeds/{target} is old: run this test with {WRITE}=1");
    }
}

fn write(directory: &Path, seeds: &Seeds) {
    if directory.exists() {
        fs::remove_dir_all(directory).expect("old seeds can be removed");
    }
    fs::create_dir_all(directory).expect("the directory can be made");
    for (name, bytes) in seeds {
        fs::write(directory.join(name), bytes).expect("a seed can be written");
    }
}

fn read(directory: &Path) -> Seeds {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let entries = entries.map(|entry| entry.expect("the directory can be read"));
    let seed = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("names of seeds are ASCII");
        (name, fs::read(entry.path()).expect("a seed can be read"))
    };
    entries.map(seed).collect()
}
