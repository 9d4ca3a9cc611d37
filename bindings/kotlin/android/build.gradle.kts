// The AAR: the sources of ../core and the bindings as generated for Android, with what only Android has.
plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
    `maven-publish`
}

android {
    namespace = "io.scalefl.sdk"
    compileSdk = 36

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
        // What `cargo xtask bindings --aar` puts into src/main/jniLibs, each linked for pages of 16 KB.
        ndk { abiFilters += listOf("arm64-v8a", "armeabi-v7a", "x86_64") }
    }

    sourceSets["main"].kotlin.srcDirs("../core/src/main/kotlin", "../generated/android")

    // Needed for pages of 16 KB: the libraries are mapped from the APK as they are.
    packaging { jniLibs.useLegacyPackaging = false }

    publishing { singleVariant("release") { withSourcesJar() } }
}

kotlin { jvmToolchain(17) }

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
    api("androidx.work:work-runtime-ktx:2.10.1")
    implementation("androidx.annotation:annotation:1.9.1")
    // From 5.17 on its own native library is linked for pages of 16 KB.
    implementation("net.java.dev.jna:jna:5.17.0@aar")
}

publishing {
    publications.register<MavenPublication>("release") {
        artifactId = "scale-fl-android"
        afterEvaluate { from(components["release"]) }
    }
}
