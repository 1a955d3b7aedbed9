//! A whole site on a clock that the test moves.

mod usage_weeks;
