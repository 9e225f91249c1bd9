//! The contract, statement by statement, on both loops.
