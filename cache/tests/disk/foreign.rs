//! Files that are not what the store left: older copies, swapped, cut, emptied, gone, or somebody else's.
//!
//! The store opens, gives nothing wrong out, and goes on; and a job is lost only where index and journal both are.

use crate::entities::{TAGS, entity};
use crate::rot::Filled;
use crate::script::script;
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::sim::medium::Medium;
use crate::sweep::{Case, for_each, quiet, stride};
use crate::truth::{Promise, Truth};
use crate::world::{World, config};
use std::path::{Path, PathBuf};

/// One thing that was done to a closed store.
type Deed = (String, Box<dyn Fn(&mut Medium) + Sync>);

fn deed(name: String, work: impl Fn(&mut Medium) + Sync + 'static) -> Deed {
    (name, Box::new(work))
}

/// Holds the store against each of these; says how many that were.
fn survives_all(filled: &Filled, deeds: &[Deed]) {
    quiet();
    for_each(deeds.len() as u64, |number| {
        let (name, work) = &deeds[number as usize];
        let _case = Case(name.clone());
        let mut medium = filled.medium.clone();
        work(&mut medium);
        filled.goes_on(medium);
    });
    println!("{} deeds", deeds.len());
}

#[test]
fn files_that_are_cut_emptied_zeroed_grown_or_gone_give_nothing_wrong() {
    let filled = Filled::new();
    let mut deeds = Vec::new();
    for path in filled.medium.paths() {
        let length = filled.medium.content(&path).expect("a file").len();
        let on = |what: &str| format!("{what} {}", path.display());
        let edit = |what: &str, work: fn(&mut Vec<u8>)| {
            let path = path.clone();
            deed(on(what), move |medium| medium.edit(&path, work))
        };
        deeds.push(edit("empty", Vec::clear));
        deeds.push(edit("zero", |bytes| bytes.fill(0)));
        deeds.push(edit("fill with ones", |bytes| bytes.fill(0xff)));
        deeds.push(edit("lengthen", |bytes| bytes.extend_from_slice(&[7; 5000])));
        deeds.push(edit("halve", |bytes| bytes.truncate(bytes.len() / 2)));
        deeds.push(edit("cut the last byte of", |bytes| bytes.truncate(bytes.len().saturating_sub(1))));
        let gone = path.clone();
        deeds.push(deed(on("take away"), move |medium| medium.take(&gone)));
        if path.extension().is_some_and(|kind| kind == "redb" || kind == "journal") {
            for page in (0..length.min(256 * 1024)).step_by(4096 * stride(3) as usize) {
                let (zeroed, cut) = (path.clone(), path.clone());
                deeds.push(deed(on(&format!("zero the page at {page} of")), move |medium| {
                    medium.edit(&zeroed, |bytes| {
                        let end = bytes.len().min(page + 4096);
                        bytes[page..end].fill(0);
                    });
                }));
                deeds.push(deed(on(&format!("cut at {page}")), move |medium| {
                    medium.edit(&cut, |bytes| bytes.truncate(page))
                }));
            }
        }
    }
    for directory in filled.medium.directories() {
        if directory.starts_with(DIRECTORY) {
            deeds.push(deed(format!("take away {}", directory.display()), move |medium| medium.take(&directory)));
        }
    }
    survives_all(&filled, &deeds);
}

#[test]
fn a_directory_in_place_of_a_file_is_a_clear_error() {
    let filled = Filled::new();
    for path in filled.medium.paths() {
        let _case = Case(format!("a directory at {}", path.display()));
        let mut medium = filled.medium.clone();
        medium.take(&path);
        medium.put_directory(&path);
        let disk = SimDisk::with(medium, 5);
        let mut world = World::new(disk.share(), config(Path::new(DIRECTORY), 1 << 30), Truth::default());
        match world.open() {
            Err(error) => assert!(error.to_string().contains("directory"), "{error}"),
            Ok(store) => {
                let find = |tag| store.find(&entity(tag).entity.id());
                let kept = (0..TAGS).filter(|tag| find(*tag).is_ok_and(|found| found.is_some())).count();
                let is_of_entity = path.components().count() > Path::new(DIRECTORY).components().count() + 1;
                assert_eq!(kept < TAGS as usize, is_of_entity, "what it stands in place of is refused, and no more");
            }
        }
    }
}

#[test]
fn swapped_files_give_nothing_wrong() {
    let filled = Filled::new();
    let paths = filled.medium.paths();
    let mut deeds = Vec::new();
    for (at, one) in paths.iter().enumerate() {
        for other in &paths[at + 1..] {
            let (a, b) = (one.clone(), other.clone());
            deeds.push(deed(format!("swap {} and {}", a.display(), b.display()), move |medium| medium.swap(&a, &b)));
        }
    }
    survives_all(&filled, &deeds);
}

#[test]
fn foreign_files_and_directories_are_left_alone_or_put_aside() {
    let filled = Filled::new();
    let mut deeds = Vec::new();
    let known = filled.files(".data").remove(0);
    let stem = known.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
    let (id, generation) = stem.split_once('-').expect("a name");
    let names = [
        "a".to_owned(),
        "index.redb".to_owned(),
        "index.suspect".to_owned(),
        "index.damaged-1".to_owned(),
        "jobs.journal.new".to_owned(),
        "1.x".to_owned(),
        "-1.data".to_owned(),
        "zz".to_owned(),
        format!("{id}-{generation}.data"),
        format!("{id}-{generation}.tmp"),
        format!("{id}-0.data"),
        format!("{id}-{}.data", u64::MAX),
        format!("{id}-999999999999999999999999.outboard"),
        format!("9999999999.{id}-{generation}.data"),
    ];
    for directory in filled.medium.directories() {
        if !directory.starts_with(DIRECTORY) {
            continue;
        }
        for name in &names {
            let path = directory.join(name);
            if filled.medium.node(&path).is_some() {
                continue;
            }
            for bytes in [Vec::new(), b"not ours".to_vec(), vec![0xa5; 70_000]] {
                let (path, length) = (path.clone(), bytes.len());
                let text = format!("put {length} bytes at {}", path.display());
                deeds.push(deed(text, move |medium| medium.put(&path, bytes.clone())));
            }
            if name.starts_with("jobs.") {
                // A directory under one of the store's own names is a clear error.
                continue;
            }
            let text = format!("put a directory at {}", path.display());
            deeds.push(deed(text, move |medium| medium.put_directory(&path)));
        }
    }
    survives_all(&filled, &deeds);
}

/// The store's files after each step of the script, closed.
fn ages() -> Vec<(Medium, Truth)> {
    let disk = SimDisk::new(9);
    let mut world = World::new(disk.share(), config(Path::new(DIRECTORY), 1 << 30), Truth::new(Promise::NothingWrong));
    let mut ages = Vec::new();
    for step in script() {
        world.take(&step).expect("a sound disk refuses nothing");
        world.close();
        ages.push((disk.medium(), world.truth.clone()));
    }
    ages
}

#[test]
fn files_of_different_ages_give_nothing_wrong() {
    quiet();
    let ages = ages();
    let is_base = |path: &PathBuf| path.parent() == Some(Path::new(DIRECTORY));
    let pairs = ages.len() * ages.len();
    let stride = stride(5);
    for_each(pairs as u64 / stride, |case| {
        let number = (case * stride) as usize;
        if number / ages.len() > number % ages.len() {
            return;
        }
        let ((old, _), (new, truth)) = (&ages[number / ages.len()], &ages[number % ages.len()]);
        // Index, journal or both, and then everything else, are from another day.
        for which in 0..8 {
            let _case = Case(format!("files {which} of {} of age {}", number % ages.len(), number / ages.len()));
            let mut medium = new.clone();
            for path in old.paths() {
                let kind = match path.extension().and_then(|kind| kind.to_str()) {
                    Some("redb") => 1,
                    Some("journal") => 2,
                    _ if is_base(&path) => continue,
                    _ => 4,
                };
                if which & kind != 0 {
                    medium.put(&path, old.content(&path).expect("a file").to_vec());
                }
            }
            let disk = SimDisk::with(medium, case);
            let mut world = World::new(disk.share(), config(Path::new(DIRECTORY), 1 << 30), truth.clone());
            world.open_and_hold();
            for step in crate::script::afterwards() {
                world.take(&step).expect("nothing is refused afterwards");
            }
            world.close();
            world.open_and_hold();
        }
    });
    println!("{} mixtures", pairs as u64 / stride * 8);
}
