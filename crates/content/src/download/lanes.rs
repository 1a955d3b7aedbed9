//! How many ranges are fetched at a time: as many as make it faster, found by trying.

use std::time::Duration;

/// With which a download begins.
const LANES_FIRST: usize = 2;
/// Most at a time; memory is bounded by it.
pub(super) const LANES_MAX: usize = 6;
/// What a lane has to add to stay, in percent.
const GAIN_PERCENT_MIN: u64 = 8;
/// Windows in which nothing is tried after an attempt brought nothing.
const WINDOWS_OF_REST: u32 = 20;
/// A shorter window says nothing.
const WINDOW_MIN: Duration = Duration::from_millis(100);

/// Decides by measured rates. Each window either tries one lane more and is compared with the one before, or rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lanes {
    open: usize,
    /// Bytes a second of the last window before a lane was added.
    before: Option<u64>,
    rest: u32,
}

impl Default for Lanes {
    fn default() -> Self {
        Lanes {
            open: LANES_FIRST,
            before: None,
            rest: 0,
        }
    }
}

impl Lanes {
    /// How many ranges may be under way now.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// A window has passed in which so many bytes came and every lane had work.
    pub(super) fn measured(&mut self, bytes: u64, window: Duration) {
        if window < WINDOW_MIN {
            return;
        }
        let rate = (u128::from(bytes) * 1000 / window.as_millis()) as u64;
        match self.before.take() {
            Some(before) if rate < before.saturating_add(before / 100 * GAIN_PERCENT_MIN) => {
                self.open -= 1;
                self.rest = WINDOWS_OF_REST;
            }
            _ if self.rest > 0 => self.rest -= 1,
            _ if self.open < LANES_MAX => {
                self.before = Some(rate);
                self.open += 1;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lanes after so many windows of a link on which each lane brings `each` bytes a second, `all` together at most.
    fn settle(each: u64, all: u64, windows: usize) -> Lanes {
        let mut lanes = Lanes::default();
        for _ in 0..windows {
            let bytes = (each * lanes.open() as u64).min(all);
            lanes.measured(bytes / 2, Duration::from_millis(500));
        }
        lanes
    }

    #[test]
    fn a_far_server_gets_more_lanes_and_a_full_link_no_more() {
        assert_eq!(settle(1_000_000, u64::MAX, 40).open(), LANES_MAX);
        assert_eq!(settle(1_000_000, 4_000_000, 19).open(), 4);
        assert_eq!(settle(10_000_000, 10_000_000, 15).open(), LANES_FIRST);
    }

    #[test]
    fn what_brought_nothing_is_tried_again_later_only() {
        let mut lanes = Lanes::default();
        let mut tried = 0;
        for _ in 0..100 {
            lanes.measured(500_000, Duration::from_millis(500));
            tried += usize::from(lanes.open() > LANES_FIRST);
        }
        assert!((3..=6).contains(&tried), "{tried}");
    }

    proptest! {
        #[test]
        fn lanes_stay_in_bounds(windows in proptest::collection::vec((any::<u64>(), 0_u64..5_000), 0..200)) {
            let mut lanes = Lanes::default();
            for (bytes, millis) in windows {
                lanes.measured(bytes, Duration::from_millis(millis));
                prop_assert!((LANES_FIRST..=LANES_MAX).contains(&lanes.open()));
            }
        }
    }
}
