//! The API as a client sees it: the whole router over rows in memory, tokens of the development issuer.

mod caching;
mod devices;
mod gate;
mod imports;
mod person;
mod streams;
mod tenants;
mod training;
mod transactions;
mod world;
