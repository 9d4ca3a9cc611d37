//! Secure aggregation (SecAgg+): the server learns the sum of the devices' vectors and nothing else.
pub mod error;
