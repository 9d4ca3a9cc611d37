plugins {
    id("org.jetbrains.kotlin.jvm") version "2.4.20"
    application
}

kotlin { jvmToolchain(17) }

dependencies { implementation("io.scalefl:core:0.0.0") }

application {
    applicationName = "scale-categorizer"
    mainClass = "io.scalefl.examples.categorizer.MainKt"
}
