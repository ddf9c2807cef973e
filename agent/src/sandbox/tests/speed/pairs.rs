//! Pairs of measurements: ours and theirs one after the other, so that what else the machine does
//! meets both.

use std::time::Instant;

/// How many; odd, so that there is one in the middle.
const PAIRS: usize = 9;

/// Seconds of each.
#[derive(Debug)]
pub(crate) struct Pairs {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// How long it takes.
pub(crate) fn seconds(run: impl FnOnce()) -> f64 {
    let began = Instant::now();
    run();
    began.elapsed().as_secs_f64()
}

/// Seconds for one of `count` runs.
pub(crate) fn each(count: u32, mut run: impl FnMut()) -> f64 {
    seconds(|| (0..count).for_each(|_| run())) / f64::from(count)
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(numbers: Vec<f64>) -> f64 {
    sorted(numbers)[PAIRS / 2]
}

impl Pairs {
    /// Measures both, after a first time of each that does not count. Who goes first takes turns.
    pub(crate) fn measure(mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) -> Pairs {
        let mut pairs = Pairs { ours: Vec::new(), theirs: Vec::new() };
        let _first = (ours(), theirs());
        for pair in 0..PAIRS {
            if pair % 2 == 0 {
                pairs.ours.push(ours());
                pairs.theirs.push(theirs());
            } else {
                pairs.theirs.push(theirs());
                pairs.ours.push(ours());
            }
        }
        pairs
    }

    /// How many seconds ours takes: the median.
    pub(crate) fn ours(&self) -> f64 {
        median(self.ours.clone())
    }

    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect()
    }

    /// How many times as long ours takes: the median of the pairs.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    /// How many seconds longer ours takes: the median of the pairs.
    pub(crate) fn difference(&self) -> f64 {
        median(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours - theirs).collect())
    }

    /// A line: medians, the median ratio, the least and the greatest.
    pub(crate) fn print(&self, ours: &str, theirs: &str) {
        let ratios = sorted(self.ratios());
        let (ours_s, theirs_s) = (self.ours(), median(self.theirs.clone()));
        println!(
            "{ours:<40} {:>12.2} us  {theirs:<40} {:>12.2} us  {:>6.3}x ({:.3} to {:.3})",
            ours_s * 1e6,
            theirs_s * 1e6,
            self.ratio(),
            ratios[0],
            ratios[PAIRS - 1]
        );
    }
}
