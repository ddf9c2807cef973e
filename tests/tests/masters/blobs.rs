//! Blobs of several masters: what was acknowledged is on a majority, and who was away catches up.

use std::{fs, path::Path};

use super::{Masters, leader_is_known, members_vote};
use tempfile::TempDir;
use weir_tests::cluster::{PATIENCE, Weir, poll};

/// Bytes that nothing mistakes for others: in the index, and in a file of several messages.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

const SIZES: [usize; 2] = [3_000, 9 << 20];

/// Blobs as files, and their names once they are put.
struct Files {
    dir: TempDir,
    digests: Vec<String>,
}

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().expect("a directory");
        for size in SIZES {
            fs::write(dir.path().join(size.to_string()), noise(size, 1)).expect("written");
        }
        Files { dir, digests: Vec::new() }
    }

    fn path(&self, size: usize) -> std::path::PathBuf {
        self.dir.path().join(size.to_string())
    }

    /// Puts them through one master.
    fn put(&mut self, master: &str) {
        for size in SIZES {
            let put = at(master, &["put"]).arg(self.path(size)).run().exited_with(0);
            self.digests.push(put.stdout_text().trim().to_owned());
        }
    }

    /// Whether one master gives them all, as they were.
    fn are_at(&self, master: &str) -> bool {
        self.digests.iter().zip(SIZES).all(|(digest, size)| {
            let got = self.dir.path().join("got");
            let _earlier = fs::remove_file(&got);
            at(master, &["get", digest, "--out"]).arg(&got).run();
            fs::read(&got).is_ok_and(|bytes| bytes == noise(size, 1))
        })
    }
}

/// A command that knows just this master.
fn at(master: &str, args: &[&str]) -> Weir {
    Weir::new(args).env("WEIR_MASTER", master)
}

fn three() -> Masters {
    let masters = Masters::three();
    masters.wait_until("all three answer", members_vote);
    masters
}

#[test]
fn a_blob_outlives_the_master_that_took_it() {
    // Who leads, and one that follows.
    for leads in [true, false] {
        let mut masters = three();
        let mut files = Files::new();
        let members = masters.members();
        let taker = members.iter().find(|member| member["leads"] == leads).expect("there is one");
        let taker = taker["address"].as_str().expect("an address").to_owned();
        files.put(&taker);
        masters.kill(&taker);
        masters.wait_until("somebody leads", leader_is_known);
        for (server, _) in &masters.servers {
            assert!(files.are_at(server.address()), "leads: {leads}");
        }
    }
}

#[test]
fn a_master_that_was_away_gets_what_it_missed() {
    let mut masters = three();
    let mut files = Files::new();
    let away = masters.servers[2].0.address().to_owned();
    let data = masters.kill(&away);
    masters.wait_until("somebody leads", leader_is_known);
    files.put(&masters.list());
    masters.start_again(&away, data);
    masters.wait_until("all three answer", members_vote);
    let store = masters.servers[2].1.path().join("store/blobs");
    let large = files.digests[1].strip_prefix("blake3:").expect("a digest");
    let file = store.join(&large[..2]).join(large);
    assert!(poll(PATIENCE, || file.exists()), "{} does not come", file.display());
    // It needs nobody for it.
    for address in masters.addresses.clone() {
        if address != away {
            masters.kill(&address);
        }
    }
    assert!(poll(PATIENCE, || files.are_at(&away)));
}

#[test]
fn what_less_than_a_majority_has_is_not_acknowledged() {
    let mut masters = three();
    let mut files = Files::new();
    let left = masters.addresses[0].clone();
    files.put(&left);
    for address in masters.addresses.clone() {
        if address != left {
            masters.kill(&address);
        }
    }
    let path = files.dir.path().join("more");
    fs::write(&path, "one more").expect("written");
    // Not the second time either, when it is there already.
    for _ in 0..2 {
        let refused = at(&left, &["put"]).arg(&path).run();
        refused.exited_with(125).says(&["the blob is on 1 of 3 masters, and must be on 2"]);
    }
    assert!(files.are_at(&left), "what is there can be read");
}

#[test]
fn a_blob_that_one_master_spoilt_comes_from_another() {
    let masters = three();
    let mut files = Files::new();
    let (server, data) = &masters.servers[1];
    files.put(server.address());
    spoil(&data.path().join("store/blobs"));
    // Whoever finds it out may have begun to read.
    assert!(poll(PATIENCE, || files.are_at(server.address())), "it stays spoilt");
}

/// Changes a byte of every large blob.
fn spoil(blobs: &Path) {
    let shelves = fs::read_dir(blobs).expect("blobs").flatten().map(|shelf| shelf.path());
    let files = shelves.flat_map(|shelf| fs::read_dir(shelf).expect("a shelf").flatten());
    let mut spoilt = 0;
    for file in files {
        let mut bytes = fs::read(file.path()).expect("a blob");
        bytes[1_000] ^= 1;
        fs::write(file.path(), bytes).expect("written");
        spoilt += 1;
    }
    assert_eq!(spoilt, 1);
}
