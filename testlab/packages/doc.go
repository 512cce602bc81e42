// Package packages tries what handout is installed from on a system that is new: a Debian of its own below a folder
// (debootstrap), in which the .deb is installed, used, upgraded, removed and purged by dpkg. The MSI's turn is in testlab/wine.
package packages
