// Stand-in for the framework ExpoModulesCore: the declarations that the module uses, as expo-modules-core 58.1.0 has them
// (ios/Api/Factories, ios/Core/Modules, ios/AppDelegates), and those of UIKit, which it exports. Nothing here does anything.

public protocol AnyDefinition {}
public struct Definition: AnyDefinition {}

public struct ModuleDefinition {}

@resultBuilder
public struct ModuleDefinitionBuilder {
    public static func buildBlock(_ definitions: AnyDefinition...) -> ModuleDefinition { ModuleDefinition() }
}

public protocol AnyArgument {}
extension Int: AnyArgument {}
extension String: AnyArgument {}
extension Array: AnyArgument where Element: AnyArgument {}

public protocol AnyModule: AnyObject {
    @ModuleDefinitionBuilder
    func definition() -> ModuleDefinition
}

open class BaseModule {
    public func sendEvent(_ eventName: String, _ body: [String: Any?] = [:]) {}
}

public typealias Module = AnyModule & BaseModule

public func Name(_ name: String) -> AnyDefinition { Definition() }
public func Events(_ names: String...) -> AnyDefinition { Definition() }
public func OnCreate(@_implicitSelfCapture _ closure: @escaping () -> Void) -> AnyDefinition { Definition() }
public func OnDestroy(@_implicitSelfCapture _ closure: @escaping () -> Void) -> AnyDefinition { Definition() }
public func OnAppEntersBackground(@_implicitSelfCapture _ closure: @escaping () -> Void) -> AnyDefinition { Definition() }

public func Function<R>(_ name: String, @_implicitSelfCapture _ closure: @escaping () throws -> R) -> AnyDefinition {
    Definition()
}

public func Function<R, A0: AnyArgument, each A: AnyArgument>(
    _ name: String,
    @_implicitSelfCapture _ closure: @escaping (A0, repeat each A) throws -> R
) -> AnyDefinition {
    Definition()
}

public func AsyncFunction<R>(
    _ name: String,
    @_inheritActorContext @_implicitSelfCapture _ closure: sending @escaping @Sendable () async throws -> sending R
) -> AnyDefinition {
    Definition()
}

public func AsyncFunction<R, A0: AnyArgument, each A: AnyArgument>(
    _ name: String,
    @_inheritActorContext @_implicitSelfCapture _ closure: sending @escaping @Sendable (A0, repeat each A) async throws -> sending R
) -> AnyDefinition {
    Definition()
}

// UIKit

@MainActor open class UIResponder {
    public init() {}
}

@MainActor public final class UIApplication {
    public struct LaunchOptionsKey: Hashable, Sendable {}
}

@MainActor public protocol UIApplicationDelegate {
    func application(
        _ application: UIApplication,
        didFinishLaunchingWithOptions launchOptions: [UIApplication.LaunchOptionsKey: Any]?
    ) -> Bool
}

open class BaseExpoAppDelegateSubscriber: UIResponder {
    public override required init() { super.init() }
}

public protocol ExpoAppDelegateSubscriberProtocol: UIApplicationDelegate {}

public typealias ExpoAppDelegateSubscriber = BaseExpoAppDelegateSubscriber & ExpoAppDelegateSubscriberProtocol
