import Foundation

/// What a client uses unless the app brings its own.
public enum Platform {
    /// On iOS the keychain, under the name of the installation's folder. On macOS and Linux `nil`: keys are files in the folder.
    /// A signed Mac app may use ``KeychainVault`` too; a program without a signature has no such keychain.
    public static func vault(for configuration: Configuration) -> (any SecretVault)? {
        #if canImport(Security) && !os(macOS)
        KeychainVault(service: "io.scalefl.sdk.\(URL(fileURLWithPath: configuration.folder).lastPathComponent)")
        #else
        nil
        #endif
    }

    /// What the system says about network and power, on Apple platforms. On Linux `nil`: nothing is known.
    public static func conditions() -> (any ConditionSource)? {
        #if canImport(Network)
        DeviceConditions.shared
        #else
        nil
        #endif
    }
}
