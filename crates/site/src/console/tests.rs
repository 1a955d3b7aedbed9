//! The console over a real service: who may what, and what is refused.
