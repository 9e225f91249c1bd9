//! gather, wait, timeout and their kin.
