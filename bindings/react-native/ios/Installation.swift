import ScaleFL

/// A configuration with what belongs to it on this phone.
struct Installation {
    let configuration: Configuration
    let vault: any SecretVault

    /// - Parameter named: Its `folder` is the installation's name. No backup copies what is stored.
    init(named: Configuration) throws {
        configuration = Configuration(
            coordinator: named.coordinator,
            folder: try Folder.standard(name: named.folder),
            task: named.task,
            taskKey: named.taskKey,
            identityRoot: named.identityRoot,
            requirements: named.requirements,
            guardrails: named.guardrails,
            examples: named.examples,
            certificateAuthority: named.certificateAuthority
        )
        vault = KeychainVault(service: "io.scalefl.sdk.\(named.folder)")
    }

    func open() throws -> NativeClient {
        try NativeClient(configuration: configuration, vault: vault, conditions: Platform.conditions())
    }
}
