//! The real client in this process: everything that it keeps is in memory, and its connection is real.

use scale_client_core::device::{Cancel, Client, ClientConfig, Requirements};
use scale_client_core::host::memory::{FixedConditions, MemoryKeys, MemoryLedger, MemoryStore};
use scale_client_core::host::native::{SystemClock, SystemRandomness};
use scale_client_core::host::{DeviceConditions, Parts};
use scale_client_core::transport::native::{Connection, GrpcTransport};
use scale_proto::ids::TaskId;

/// A device whose state is in memory.
pub type Host<T = GrpcTransport> =
    Parts<T, MemoryStore, MemoryKeys, FixedConditions, SystemClock, SystemRandomness, MemoryLedger>;

/// A device that has kept nothing yet. Its identity follows from `number`.
///
/// # Errors
/// An unusable URL.
pub fn host(url: String, number: u8) -> anyhow::Result<Host> {
    Ok(host_over(GrpcTransport::new(Connection::new(url))?, number))
}

/// The same over a transport of the test's own.
pub fn host_over<T>(transport: T, number: u8) -> Host<T> {
    Host {
        transport,
        store: MemoryStore::default(),
        keys: MemoryKeys::new([number; 32]),
        conditions: FixedConditions(DeviceConditions::FINE),
        clock: SystemClock,
        randomness: SystemRandomness,
        ledger: MemoryLedger::default(),
    }
}

/// A client of `task` that joins rounds at any time.
pub fn client(host: Host, task: &TaskId, task_key: [u8; 32]) -> Client<Host> {
    let config = ClientConfig { requirements: Requirements::NONE, ..ClientConfig::new(vec![task.clone()], task_key) };
    Client::new(host, config)
}

/// A client that is enrolled.
///
/// # Errors
/// An unusable URL, or what the coordinator answers.
pub async fn enrolled(
    url: String,
    number: u8,
    token: &str,
    task: &TaskId,
    task_key: [u8; 32],
) -> anyhow::Result<Client<Host>> {
    let client = client(host(url, number)?, task, task_key);
    client.enroll(token, &Cancel::new()).await?;
    Ok(client)
}
