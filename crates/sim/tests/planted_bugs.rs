//! The simulator, judged: it finds each bug that is put in within a hundred seeds of one kind or
//! another, and nothing where none is.

use shoal_core::planted::{Bug, plant};
use shoal_sim::{Options, run};

const SEEDS: u64 = 100;

/// The first seed of the ordinary kind, or else of a special one, that finds what is planted.
fn found_by() -> Option<String> {
    let ordinary = (1..=SEEDS).map(|seed| Options::from_seed(seed, 1_000));
    let spiteful = (1..=SEEDS).map(|seed| Options::spiteful(seed, 1_000));
    let mortal = (1..=SEEDS).map(|seed| Options::mortal(seed, 1_000));
    let hinting = (1..=SEEDS).map(|seed| Options::hinting(seed, 1_000));
    ordinary.chain(mortal).chain(hinting).chain(spiteful).find_map(|options| {
        let seed = options.seed;
        run(options).err().map(|failure| format!("seed {seed}: {}", failure.what))
    })
}

#[test]
fn every_planted_bug_is_found() {
    plant(None);
    if let Some(found) = found_by() {
        panic!("with nothing planted: {found}");
    }
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|bug| {
            plant(Some(*bug));
            let found = found_by();
            plant(None);
            found.is_none()
        })
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
