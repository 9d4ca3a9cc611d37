#if canImport(Security)
import Foundation
import Security

/// Keeps the installation's keys in the keychain of this device: usable after the first unlock, as rounds run while the device
/// is locked; never on another device, even if an encrypted backup is restored there.
///
/// The keychain outlives the app. After the app was deleted and installed again, keys are there without the folder they
/// belong to, and the first participation fails with kind `privacy_ledger`: see ``ScaleClient/resetPrivacyLedger()``.
public final class KeychainVault: SecretVault {
    private let service: String

    /// - Parameter service: Tells the keys of several installations of one app apart: one for each folder.
    public init(service: String) {
        self.service = service
    }

    public func get(name: String) throws -> Data? {
        var query = item(name)
        query[kSecReturnData] = true
        query[kSecMatchLimit] = kSecMatchLimitOne
        var found: CFTypeRef?
        let status = SecItemCopyMatching(query as CFDictionary, &found)
        if status == errSecItemNotFound { return nil }
        try check(status, "read")
        guard let bytes = found as? Data else { throw CallbackError.Failed(sentence: "the keychain returned no bytes") }
        return bytes
    }

    public func putNew(name: String, bytes: Data) throws -> Bool {
        let status = SecItemAdd(with(bytes, item(name)) as CFDictionary, nil)
        if status == errSecDuplicateItem { return false }
        try check(status, "add to")
        return true
    }

    public func put(name: String, bytes: Data) throws {
        let status = SecItemUpdate(item(name) as CFDictionary, [kSecValueData: bytes] as CFDictionary)
        guard status == errSecItemNotFound else { return try check(status, "write to") }
        // Another process of this app may have added it meanwhile.
        if try !putNew(name: name, bytes: bytes) {
            try check(SecItemUpdate(item(name) as CFDictionary, [kSecValueData: bytes] as CFDictionary), "write to")
        }
    }

    public func delete(name: String) throws {
        let status = SecItemDelete(item(name) as CFDictionary)
        if status != errSecItemNotFound { try check(status, "delete from") }
    }

    private func item(_ name: String) -> [CFString: Any] {
        [
            kSecClass: kSecClassGenericPassword,
            kSecAttrService: service,
            kSecAttrAccount: name,
            // On a Mac: the same keychain as on a phone, with its kinds of protection.
            kSecUseDataProtectionKeychain: true,
        ]
    }

    private func with(_ bytes: Data, _ item: [CFString: Any]) -> [CFString: Any] {
        var item = item
        item[kSecValueData] = bytes
        item[kSecAttrAccessible] = kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly
        return item
    }

    private func check(_ status: OSStatus, _ what: String) throws {
        guard status != errSecSuccess else { return }
        let hint = status == errSecInteractionNotAllowed ? ": the device has not been unlocked since it was started" : ""
        throw CallbackError.Failed(sentence: "cannot \(what) the keychain, status \(status)\(hint)")
    }
}
#endif
