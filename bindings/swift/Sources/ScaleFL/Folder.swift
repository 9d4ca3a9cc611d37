import Foundation

extension Configuration {
    /// A configuration with the standard folder, for apps that set nothing else.
    ///
    /// - Parameters:
    ///   - coordinator: `https://host[:port]`.
    ///   - task: The task to take part in.
    ///   - taskKey: Key that signs round configurations, as 64 hex digits: part of the app.
    public init(coordinator: String, task: String, taskKey: String) throws {
        try self.init(coordinator: coordinator, folder: Folder.standard(), task: task, taskKey: taskKey)
    }
}

/// Where an installation lives.
public enum Folder {
    /// A folder in the app's own storage, which no backup copies: an identity must not come to a second device.
    ///
    /// - Parameter name: Its name, if an app has several installations.
    public static func standard(name: String = "scale-fl") throws -> String {
        let base = try FileManager.default.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        return try prepare(base.appendingPathComponent(name, isDirectory: true))
    }

    /// Creates a folder, for this user only, and keeps it out of backups.
    static func prepare(_ url: URL) throws -> String {
        var attributes: [FileAttributeKey: Any] = [.posixPermissions: 0o700]
        #if os(iOS)
        // Rounds run in the background, also while the device is locked.
        attributes[.protectionKey] = FileProtectionType.completeUntilFirstUserAuthentication
        #endif
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true, attributes: attributes)
        #if canImport(Darwin)
        var url = url
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        try url.setResourceValues(values)
        #endif
        return url.path
    }
}
