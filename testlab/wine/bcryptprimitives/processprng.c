// The one function of bcryptprimitives.dll that Go programs begin with: random bytes. Wine 8 has it under another name.
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
	const SIZE_T most = 1 << 20;
	for (; length > most; buffer += most, length -= most)
		if (!SystemFunction036(buffer, (ULONG)most))
			return FALSE;
	return SystemFunction036(buffer, (ULONG)length);
}
