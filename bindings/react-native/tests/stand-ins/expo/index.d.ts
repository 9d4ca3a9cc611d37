// As Expo's own index has it.
export { requireNativeModule } from 'expo-modules-core';
