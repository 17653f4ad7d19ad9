/* What most programs are: a loader and a libc before main. */
int main(void)
{
    return 0;
}
