use super::*;
use crate::host::conformance::block_on;
use crate::host::memory::{MemoryKeys, MemoryVault, SeededRandomness};
#[cfg(target_arch = "wasm32")]
use crate::single_thread::test;

fn keys(vault: &MemoryVault, seed: u8) -> VaultKeys<MemoryVault> {
    VaultKeys::over(vault.clone(), SeededRandomness::new([seed; 32]))
}

const COUNT: Count = Count { epoch: 1, records: 2 };

/// An installation that has taken part: keys, a count, a certificate.
async fn used(vault: &MemoryVault) -> Zeroizing<[u8; 32]> {
    let keys = keys(vault, 1);
    let identity = keys.identity_seed().await.expect("made");
    keys.put_ledger_count(COUNT).await.expect("writes");
    keys.put_certificate(&Certificate { not_after_ms: 5, signature: [7; 64] }).await.expect("writes");
    identity
}

#[test]
fn keys_are_drawn_once_from_the_hosts_randomness() {
    block_on(async {
        let vault = MemoryVault::default();
        let first = keys(&vault, 1);
        assert_eq!(first.ledger_count().await, Ok(LedgerCount::Never));
        let (identity, sealing) =
            (first.identity_seed().await.expect("made"), first.sealing_key().await.expect("made"));
        assert_ne!(identity, sealing);
        assert_ne!(*first.ledger_key().await.expect("derived"), *sealing);
        // Another process finds them, whatever its randomness.
        let again = keys(&vault, 2);
        assert_eq!(again.sealing_key().await, Ok(sealing));
        assert_eq!(again.ledger_count().await, Ok(LedgerCount::Never), "a new installation has counted nothing");
        let elsewhere = keys(&MemoryVault::default(), 2).identity_seed().await.expect("made");
        assert_ne!(elsewhere, identity);
    });
}

#[test]
fn keys_are_read_once() {
    block_on(async {
        let vault = MemoryVault::default();
        let store = keys(&vault, 1);
        let identity = store.identity_seed().await.expect("made");
        vault.delete(KEYS).await.expect("deletes");
        assert_eq!(store.clone().identity_seed().await, Ok(identity), "they are kept, for clones too");
    });
}

/// A platform that cannot be asked now is not one that has nothing.
#[test]
fn a_vault_that_is_closed_makes_no_new_keys() {
    struct Closed;
    impl Vault for Closed {
        async fn get(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
            Err(HostError::new("key_store", "the device is locked"))
        }
        async fn put_new(&self, _: &str, _: &[u8]) -> Result<bool, HostError> {
            unreachable!("nothing is written")
        }
        async fn put(&self, _: &str, _: &[u8]) -> Result<(), HostError> {
            unreachable!("nothing is written")
        }
        async fn delete(&self, _: &str) -> Result<(), HostError> {
            unreachable!("nothing is deleted")
        }
    }
    let keys = VaultKeys::over(Closed, SeededRandomness::new([1; 32]));
    assert_eq!(block_on(keys.identity_seed()).expect_err("closed").sentence, "the device is locked");
}

#[test]
fn the_loss_of_one_is_told_from_a_new_installation() {
    block_on(async {
        let vault = MemoryVault::default();
        used(&vault).await;
        vault.delete(KEYS).await.expect("deletes");
        let fresh = keys(&vault, 3);
        for error in [fresh.identity_seed().await, fresh.sealing_key().await].map(|key| key.expect_err("lost")) {
            assert_eq!(error.what, "keys_lost");
            assert!(error.sentence.contains("forget everything"), "{error}");
        }
        assert_eq!(vault.get(KEYS).await, Ok(None), "none are made in their place");
        assert_eq!(fresh.ledger_count().await, Ok(LedgerCount::At(COUNT)));

        let vault = MemoryVault::default();
        let identity = used(&vault).await;
        vault.delete(LEDGER_COUNT).await.expect("deletes");
        let fresh = keys(&vault, 3);
        assert_eq!(fresh.ledger_count().await.expect_err("lost").what, "ledger_count_lost");
        assert_eq!(fresh.identity_seed().await, Ok(identity), "what is there is there");

        // Both at once: nothing is left that could tell.
        vault.delete(KEYS).await.expect("deletes");
        assert_eq!(keys(&vault, 3).ledger_count().await, Ok(LedgerCount::Never));
        assert!(keys(&vault, 3).identity_seed().await.is_ok());
    });
}

#[test]
fn an_installation_that_was_killed_while_it_made_its_keys_makes_them() {
    block_on(async {
        let vault = MemoryVault::default();
        vault.put_new(LEDGER_COUNT, &count_entry(NEVER)).await.expect("writes");
        assert!(keys(&vault, 1).identity_seed().await.is_ok());
    });
}

#[test]
fn damaged_entries_are_refused_and_stay() {
    block_on(async {
        let vault = MemoryVault::default();
        used(&vault).await;
        for name in [KEYS, LEDGER_COUNT, CERTIFICATE] {
            let whole = vault.get(name).await.expect("memory").expect("there");
            let other = vault.get(if name == KEYS { CERTIFICATE } else { KEYS }).await.expect("memory").expect("there");
            let mut bent = whole.clone();
            bent[3] ^= 1;
            let short = Zeroizing::new(whole[..whole.len() - 1].to_vec());
            for (how, entry) in [("bent", bent), ("short", short), ("empty", Zeroizing::default()), ("moved", other)] {
                vault.put(name, &entry).await.expect("writes");
                let keys = keys(&vault, 3);
                let error = match name {
                    KEYS => keys.identity_seed().await.map(drop),
                    LEDGER_COUNT => keys.ledger_count().await.map(drop),
                    _ => keys.certificate().await.map(drop),
                };
                let error = error.expect_err(how);
                assert!(error.what == "key_store" && error.sentence.contains(name), "{name} {how}: {error}");
                assert_eq!(vault.get(name).await, Ok(Some(entry)), "{name} {how}");
            }
            vault.put(name, &whole).await.expect("writes");
        }
    });
}

#[test]
fn forgetting_makes_a_new_installation() {
    block_on(async {
        let vault = MemoryVault::default();
        let store = keys(&vault, 2);
        let identity = used(&vault).await;
        assert_eq!(store.identity_seed().await.as_ref(), Ok(&identity));
        let clone = store.clone();
        store.delete_all().await.expect("deletes");
        assert_eq!((clone.ledger_count().await, clone.certificate().await), (Ok(LedgerCount::Never), Ok(None)));
        assert_ne!(clone.identity_seed().await.expect("made"), identity, "clones forget too");
    });
}

#[test]
fn secrets_are_not_printed() {
    let keys = MemoryKeys::new([1; 32]);
    assert_eq!(format!("{keys:?}"), "VaultKeys(redacted)");
    assert_eq!(format!("{:?}", keys.vault()), "MemoryVault(redacted)");
}
