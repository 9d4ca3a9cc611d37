// Versions of the plugins, once for both projects. Run `cargo xtask bindings --kotlin` first: it generates what these build.
plugins {
    id("org.jetbrains.kotlin.jvm") version "2.4.20" apply false
    id("org.jetbrains.kotlin.android") version "2.4.20" apply false
    id("com.android.library") version "8.13.0" apply false
}

allprojects {
    group = "io.scalefl"
    version = providers.gradleProperty("version").getOrElse("0.0.0")
}
