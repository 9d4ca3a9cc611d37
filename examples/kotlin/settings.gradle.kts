pluginManagement { repositories { mavenCentral(); gradlePluginPortal() } }
dependencyResolutionManagement { repositories { google(); mavenCentral() } }

rootProject.name = "scale-categorizer"
// The assembled library: run `cargo xtask bindings --kotlin` first.
includeBuild("../../target/bindings/kotlin")
