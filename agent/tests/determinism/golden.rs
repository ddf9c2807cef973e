//! What guests gave before, in a file of the repository: a heading for each, and below it its record.

use std::{collections::BTreeMap, fs, path::Path};

/// Begins the line that names a guest.
const HEADING: &str = "== ";

/// The records of a file.
pub(crate) struct Golden<'a> {
    path: &'a Path,
    records: BTreeMap<String, String>,
}

/// What it means that a guest has no record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Somebody forgot it.
    IsAFault,
    /// It was made by another compiler than those in the file.
    IsNews,
}

impl Golden<'_> {
    /// Reads a file; none is one without records.
    pub(crate) fn read(path: &Path) -> Golden<'_> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let records = text.split_terminator(HEADING).skip(1).filter_map(|block| {
            let (name, record) = block.split_once('\n')?;
            Some((name.to_owned(), record.trim_end_matches('\n').to_owned() + "\n"))
        });
        Golden { path, records: records.collect() }
    }

    /// Compares records with those of the file, or with `UPDATE` writes them there.
    pub(crate) fn check(mut self, now: BTreeMap<String, String>, missing: Missing) -> Vec<String> {
        if std::env::var_os("UPDATE").is_some() {
            if missing == Missing::IsAFault {
                self.records.clear();
            }
            self.records.extend(now);
            self.write();
            return Vec::new();
        }
        let mut faults = Vec::new();
        for (name, record) in &now {
            match self.records.get(name) {
                Some(wanted) if wanted == record => {}
                Some(wanted) => {
                    faults.push(format!("{name} is another one:\n{}", difference(wanted, record)));
                }
                None if missing == Missing::IsAFault => faults.push(format!("{name} is new")),
                None => println!("{name} is of another compiler than those on record"),
            }
        }
        if missing == Missing::IsAFault {
            let gone = self.records.keys().filter(|name| !now.contains_key(*name));
            faults.extend(gone.map(|name| format!("{name} is gone")));
        }
        faults
    }

    fn write(&self) {
        let blocks: Vec<String> = self
            .records
            .iter()
            .map(|(name, record)| format!("{HEADING}{name}\n{record}"))
            .collect();
        fs::write(self.path, blocks.join("\n")).expect("the file can be written");
    }
}

/// The lines that two records do not share, `-` for those that were to come.
pub(crate) fn difference(wanted: &str, actual: &str) -> String {
    let (wanted, actual): (Vec<&str>, Vec<&str>) =
        (wanted.lines().collect(), actual.lines().collect());
    let gone =
        wanted.iter().filter(|line| !actual.contains(line)).map(|line| format!("  - {line}"));
    let new = actual.iter().filter(|line| !wanted.contains(line)).map(|line| format!("  + {line}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}
