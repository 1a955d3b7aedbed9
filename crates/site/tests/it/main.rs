//! A whole site on a clock that the test moves.

mod media_time;
mod usage_weeks;
